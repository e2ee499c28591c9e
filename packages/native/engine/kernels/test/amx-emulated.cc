// amx/ on emulated tiles; built in place of it on machines that have AVX-512 only.
#include "amx-emulation.h"

#include "../amx/kernels.cc"
