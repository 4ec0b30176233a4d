// An extension that does not fit: it throws while it is loaded, as libtorch does for an operator that it cannot register.

#include <stdexcept>

namespace {
const int registered = [] {
  throw std::runtime_error("made for another libtorch");
  return 0;
}();
}  // namespace
