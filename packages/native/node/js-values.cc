#include "js-values.h"

namespace bitnet::node::js {

napi_value throwFailure(napi_env env, const Failure& failure) {
  napi_throw_error(env, codeName(failure.code), failure.message);
  return nullptr;
}

napi_value throwInvalid(napi_env env, const char* what) {
  napi_throw_error(env, codeName(Code::InvalidArgument), what);
  return nullptr;
}

bool rejectInvalid(napi_env env, const char* what) {
  throwInvalid(env, what);
  return false;
}

bool isNullish(napi_env env, napi_value value) {
  napi_valuetype type;
  return napi_typeof(env, value, &type) != napi_ok || type == napi_undefined || type == napi_null;
}

bool readInt(napi_env env, napi_value value, int32_t* out) {
  double number;
  if (!readDouble(env, value, &number)) return false;
  if (!(number >= INT32_MIN && number <= INT32_MAX)) return rejectInvalid(env, "expected a 32-bit integer");
  *out = static_cast<int32_t>(number);
  return true;
}

bool readDouble(napi_env env, napi_value value, double* out) {
  return napi_get_value_double(env, value, out) == napi_ok || rejectInvalid(env, "expected a number");
}

bool readString(napi_env env, napi_value value, Array<char>& out) {
  size_t length;
  if (napi_get_value_string_utf8(env, value, nullptr, 0, &length) != napi_ok) return rejectInvalid(env, "expected a string");
  if (!out.allocate(length + 1)) {
    napi_throw_error(env, codeName(Code::OutOfMemory), "no memory for a string");
    return false;
  }
  return napi_get_value_string_utf8(env, value, out.data(), length + 1, &length) == napi_ok;
}

bool readArray(napi_env env, napi_value value, napi_typedarray_type type, Bytes* out) {
  bool isArray = false;
  napi_typedarray_type found = napi_int8_array;
  size_t offset;
  if (napi_is_typedarray(env, value, &isArray) == napi_ok && isArray &&
      napi_get_typedarray_info(env, value, &found, &out->length, &out->data, nullptr, &offset) == napi_ok && found == type)
    return true;
  return rejectInvalid(env, "expected a typed array of another type");
}

bool readListLength(napi_env env, napi_value list, uint32_t* out) {
  bool isArray = false;
  if (napi_is_array(env, list, &isArray) == napi_ok && isArray && napi_get_array_length(env, list, out) == napi_ok) return true;
  return rejectInvalid(env, "expected an array");
}

napi_value number(napi_env env, double value) {
  napi_value result = nullptr;
  napi_create_double(env, value, &result);
  return result;
}

napi_value string(napi_env env, const char* text) {
  napi_value result = nullptr;
  napi_create_string_utf8(env, text, NAPI_AUTO_LENGTH, &result);
  return result;
}

void setProperty(napi_env env, napi_value object, const char* name, napi_value value) {
  napi_set_named_property(env, object, name, value);
}

napi_value failureObject(napi_env env, const Failure& failure) {
  napi_value object = nullptr;
  napi_create_object(env, &object);
  setProperty(env, object, "code", string(env, codeName(failure.code)));
  setProperty(env, object, "message", string(env, failure.message));
  setProperty(env, object, "op", number(env, failure.op));
  setProperty(env, object, "row", number(env, failure.row));
  return object;
}

}  // namespace bitnet::node::js
