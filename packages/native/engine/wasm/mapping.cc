// Nothing can be mapped in WebAssembly: whoever loads a model reads its bytes into place.
#include "../mapping.h"

namespace bitnet::engine {

bool FileMapping::open(const char*, uint64_t, Failure& failure) { return failure.set(Code::InvalidArgument, "WebAssembly cannot open files"); }
void FileMapping::close() {}
bool FileMapping::intact() const { return true; }

}  // namespace bitnet::engine
