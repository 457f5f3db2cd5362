// The one function of bcryptprimitives.dll that Rust's standard library imports. Wine has the library from version 9 on.
#include <windows.h>
#include <ntsecapi.h>

__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE data, SIZE_T size) { return RtlGenRandom(data, (ULONG)size); }
