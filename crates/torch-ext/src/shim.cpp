// The C side of this crate, except for groups of processes (group.cpp). guarded.h says what its functions return.

#include <ATen/Context.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <ATen/ops/empty.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <torch/cuda.h>

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <vector>

#include "guarded.h"

using torch_ext::guarded;

namespace {

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

// What an argument of an operator is when the caller has no value for it.
c10::IValue absent(const c10::Argument& argument) {
  if (argument.default_value()) {
    return *argument.default_value();
  }
  switch (argument.type()->kind()) {
    case c10::TypeKind::OptionalType: return {};
    case c10::TypeKind::BoolType: return false;
    case c10::TypeKind::IntType: return static_cast<int64_t>(0);
    case c10::TypeKind::FloatType: return 0.0;
    default: throw std::runtime_error("flash_attn_3::fwd needs `" + argument.name() + "`, which this version does not know");
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

// Only deterministic kernels from now on; an operator that has none throws. cuBLAS is deterministic with a workspace of fixed size,
// which it reads from the environment when it starts.
int torch_ext_make_deterministic(char* message, size_t room) {
  return guarded(message, room, [&] {
    setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8", /*overwrite=*/0);
    auto& context = at::globalContext();
    context.setDeterministicAlgorithms(/*on=*/true, /*warn_only=*/false);
    context.setDeterministicCuDNN(true);
    context.setBenchmarkCuDNN(false);
  });
}

// Waits for all work on the device, and throws what any of it has failed with.
int torch_ext_synchronize(int64_t device, char* message, size_t room) {
  return guarded(message, room, [&] { torch::cuda::synchronize(device); });
}

// The device of CUDA calls that name none, in this thread.
int torch_ext_use_gpu(int64_t device, char* message, size_t room) {
  return guarded(message, room, [&] {
    const c10::Device gpu(c10::DeviceType::CUDA, static_cast<c10::DeviceIndex>(device));
    c10::impl::VirtualGuardImpl(c10::DeviceType::CUDA).setDevice(gpu);
  });
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

// Whether an operator of this name is registered.
int torch_ext_has_operator(const char* name, int* found, char* message, size_t room) {
  return guarded(message, room, [&] {
    *found = c10::Dispatcher::singleton().findSchema({name, ""}).has_value() ? 1 : 0;
  });
}

// Attention by the registered operator flash_attn_3::fwd. Queries, keys and values are [batch, tokens, heads, width], strided as
// they like except along the width; so is the result. Arguments are given by name, because their number differs between builds.
int torch_ext_flash3(
    const at::Tensor* query, const at::Tensor* key, const at::Tensor* value, at::Tensor** out, char* message, size_t room) {
  return guarded(message, room, [&] {
    const auto op = c10::Dispatcher::singleton().findSchemaOrThrow("flash_attn_3::fwd", "");
    at::AutoDispatchBelowADInplaceOrView no_autograd;
    torch::jit::Stack stack;
    for (const auto& argument : op.schema().arguments()) {
      const auto& name = argument.name();
      if (name == "q") {
        stack.emplace_back(*query);
      } else if (name == "k") {
        stack.emplace_back(*key);
      } else if (name == "v") {
        stack.emplace_back(*value);
      } else if (name == "softmax_scale") {
        stack.emplace_back(1.0 / std::sqrt(static_cast<double>(query->size(-1))));
      } else {
        stack.emplace_back(absent(argument));
      }
    }
    op.callBoxed(&stack);
    *out = new at::Tensor(stack.at(0).toTensor());
  });
}

// Bytes in page-locked host memory, which a GPU reads and writes without a copy in between. The allocator keeps freed blocks for
// the next call.
int torch_ext_pinned(int64_t bytes, at::Tensor** out, char* message, size_t room) {
  return guarded(message, room, [&] {
    *out = new at::Tensor(at::empty({bytes}, at::TensorOptions().dtype(at::kByte).pinned_memory(true)));
  });
}

}  // extern "C"
