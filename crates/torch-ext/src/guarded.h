// How every function of this crate's C side ends: it returns 0, or 1 after writing the exception's text into `message` (`room`
// bytes, always terminated). No exception may leave a function: Rust cannot unwind it.
#pragma once

#include <cstddef>
#include <cstdio>
#include <exception>

namespace torch_ext {

template <typename Body>
int guarded(char* message, size_t room, Body body) {
  try {
    body();
    return 0;
  } catch (const std::exception& error) {
    std::snprintf(message, room, "%s", error.what());
  } catch (...) {
    std::snprintf(message, room, "an exception without a text");
  }
  return 1;
}

}  // namespace torch_ext
