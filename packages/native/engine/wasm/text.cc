// The part of printf that messages use: %s, %.40s, %d, %u, %zu and %llu. The C library's own brings in locks and floating point.
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace {

class Writer {
 public:
  Writer(char* to, size_t size) : to_(to), size_(size) {}
  void put(char c) {
    if (length_ + 1 < size_) to_[length_] = c;
    length_++;
  }
  void put(const char* text, size_t most) {
    for (; *text && most > 0; most--) put(*text++);
  }
  void put(uint64_t number) {
    char digits[20];
    int n = 0;
    do digits[n++] = static_cast<char>('0' + number % 10);
    while ((number /= 10) != 0);
    while (n > 0) put(digits[--n]);
  }
  void put(int32_t number) {
    if (number < 0) put('-');
    put(static_cast<uint64_t>(number < 0 ? -static_cast<int64_t>(number) : number));
  }
  int finish() {
    if (size_ > 0) to_[length_ < size_ ? length_ : size_ - 1] = '\0';
    return static_cast<int>(length_);
  }

 private:
  char* to_;
  size_t size_, length_ = 0;
};

}  // namespace

extern "C" int vsnprintf(char* to, size_t size, const char* format, va_list args) {
  Writer writer(to, size);
  for (const char* at = format; *at; at++) {
    if (*at != '%') {
      writer.put(*at);
      continue;
    }
    size_t most = SIZE_MAX;
    if (*++at == '.')
      for (most = 0, at++; *at >= '0' && *at <= '9'; at++) most = 10 * most + static_cast<size_t>(*at - '0');
    if (*at == 's') writer.put(va_arg(args, const char*), most);
    else if (*at == 'd') writer.put(va_arg(args, int32_t));
    else if (*at == 'u') writer.put(uint64_t{va_arg(args, uint32_t)});
    else if (*at == 'z') writer.put(uint64_t{va_arg(args, size_t)});
    else if (*at == 'l') writer.put(va_arg(args, unsigned long long));
    else if (*at == '%') writer.put('%');
    else __builtin_trap();
    // zu and llu
    if (*at == 'z') at++;
    if (*at == 'l') at += 2;
  }
  return writer.finish();
}

extern "C" int snprintf(char* to, size_t size, const char* format, ...) {
  va_list args;
  va_start(args, format);
  const int length = vsnprintf(to, size, format, args);
  va_end(args);
  return length;
}
