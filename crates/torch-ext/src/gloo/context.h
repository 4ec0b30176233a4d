// libtorch contains Gloo but not Gloo's headers, which c10d/ProcessGroupGloo.hpp includes. The headers of this folder declare just
// what that file names. Nothing here is instantiated or called by this crate: all of it happens inside libtorch.
#pragma once

#include <chrono>

namespace gloo {
class Context {
 public:
  void setTimeout(std::chrono::milliseconds timeout);
};
}  // namespace gloo
