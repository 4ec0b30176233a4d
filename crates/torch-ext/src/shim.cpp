// The C side of this crate. Every function returns 0, or 1 after writing the exception's text into `message`
// (`room` bytes, always terminated). No exception may leave a function: Rust cannot unwind it.

#include <ATen/Context.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <torch/cuda.h>

#include <cstdint>
#include <cstdio>
#include <exception>
#include <vector>

namespace {

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

void enable(at::SDPBackend backend, bool on) {
  auto& context = at::globalContext();
  switch (backend) {
    case at::SDPBackend::math: context.setSDPUseMath(on); break;
    case at::SDPBackend::flash_attention: context.setSDPUseFlash(on); break;
    case at::SDPBackend::efficient_attention: context.setSDPUseMemEfficient(on); break;
    case at::SDPBackend::cudnn_attention: context.setSDPUseCuDNN(on); break;
    default: break;
  }
}

bool enabled(at::SDPBackend backend) {
  auto& context = at::globalContext();
  switch (backend) {
    case at::SDPBackend::math: return context.userEnabledMathSDP();
    case at::SDPBackend::flash_attention: return context.userEnabledFlashSDP();
    case at::SDPBackend::efficient_attention: return context.userEnabledMemEfficientSDP();
    case at::SDPBackend::cudnn_attention: return context.userEnabledCuDNNSDP();
    default: return false;
  }
}

}  // namespace

extern "C" {

// `order` names all four backends, the preferred one first; the first `on` of them are enabled, the others disabled.
int torch_ext_set_attention(const int64_t* order, size_t on, char* message, size_t room) {
  return guarded(message, room, [&] {
    const std::vector<int64_t> all(order, order + 4);
    at::globalContext().setSDPPriorityOrder(all);
    for (size_t place = 0; place < all.size(); ++place) {
      enable(static_cast<at::SDPBackend>(all[place]), place < on);
    }
  });
}

// Writes the enabled backends in the order in which they are tried, and their number.
int torch_ext_attention(int64_t* order, size_t* count, char* message, size_t room) {
  return guarded(message, room, [&] {
    *count = 0;
    for (const auto backend : at::globalContext().sDPPriorityOrder()) {
      if (*count < 4 && enabled(backend)) {
        order[(*count)++] = static_cast<int64_t>(backend);
      }
    }
  });
}

// Waits for all work on the device, and throws what any of it has failed with.
int torch_ext_synchronize(int64_t device, char* message, size_t room) {
  return guarded(message, room, [&] { torch::cuda::synchronize(device); });
}

// `out`: bytes in tensors now and at most, bytes taken from the driver now and at most.
int torch_ext_memory(int64_t device, int64_t* out, char* message, size_t room) {
  return guarded(message, room, [&] {
    const auto index = static_cast<c10::DeviceIndex>(device);
    const auto stats = c10::getDeviceAllocator(c10::DeviceType::CUDA)->getDeviceStats(index);
    out[0] = stats.allocated_bytes[0].current;
    out[1] = stats.allocated_bytes[0].peak;
    out[2] = stats.reserved_bytes[0].current;
    out[3] = stats.reserved_bytes[0].peak;
  });
}

// Starts the peaks of torch_ext_memory again from what is used now.
int torch_ext_reset_peak(int64_t device, char* message, size_t room) {
  return guarded(message, room, [&] {
    const auto index = static_cast<c10::DeviceIndex>(device);
    c10::getDeviceAllocator(c10::DeviceType::CUDA)->resetPeakStats(index);
  });
}

// Returns the blocks that hold no tensor to the driver.
int torch_ext_empty_cache(char* message, size_t room) {
  return guarded(message, room, [&] { c10::getDeviceAllocator(c10::DeviceType::CUDA)->emptyCache(); });
}

}  // extern "C"
