// Assertions that stay on in production. They state what our own code guarantees; what users,
// nodes or the kernel may do is a Result, never an assertion.
#pragma once

#include <cstdio>
#include <cstdlib>

namespace ember {

[[noreturn]] inline void assertion_failed(const char* condition, const char* file, int line) {
  std::fprintf(stderr, "%s:%d: assertion failed: %s\n", file, line, condition);
  std::abort();
}

}  // namespace ember

#define EMBER_ASSERT(condition) \
  ((condition) ? (void)0 : ::ember::assertion_failed(#condition, __FILE__, __LINE__))
