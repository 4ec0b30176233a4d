// An extension as FlashAttention 3's: it registers flash_attn_3::fwd when it is loaded, refers to a function of Python that is not
// there, and computes attention on a CPU. Its result is off by OFFSET, so that a caller can see which kernel it came from.

#include <ATen/ATen.h>
#include <torch/library.h>

#include <optional>
#include <tuple>

extern "C" void* PyModule_Create2(void*, int);
// As in the real extension: what an import from Python would call. Nothing calls it here.
extern "C" void* PyInit__C() { return PyModule_Create2(nullptr, 1013); }

namespace {

constexpr double OFFSET = 0.001;

using Optional = std::optional<at::Tensor>;

std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor> fwd(
    const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const Optional& out, std::optional<int64_t> max_seqlen_q,
    double softmax_scale, bool is_causal, int64_t window_size_left, int64_t window_size_right, double softcap, std::optional<bool> pack_gqa) {
  TORCH_CHECK(!out && !max_seqlen_q && !is_causal && !pack_gqa, "an argument that nobody gave has a value");
  TORCH_CHECK(window_size_left == -1 && window_size_right == -1 && softcap == 0.0, "a default was not used");
  TORCH_CHECK(q.scalar_type() == at::kBFloat16 || q.scalar_type() == at::kHalf, "only 16 bits");
  const auto swap = [](const at::Tensor& tensor) { return tensor.transpose(1, 2).to(at::kFloat); };
  const auto shares = (at::matmul(swap(q), swap(k).transpose(2, 3)) * softmax_scale).softmax(-1);
  const auto attended = at::matmul(shares, swap(v)).transpose(1, 2).contiguous().to(q.scalar_type());
  return {attended + OFFSET, q.new_empty({0}), q.new_empty({0}), q.new_empty({0})};
}

}  // namespace

TORCH_LIBRARY(flash_attn_3, m) {
  m.def(
      "fwd(Tensor q, Tensor k, Tensor v, Tensor(out!)? out, int? max_seqlen_q, float softmax_scale, bool is_causal, "
      "int window_size_left = -1, int window_size_right = -1, float softcap = 0.0, bool? pack_gqa = None) "
      "-> (Tensor, Tensor, Tensor, Tensor)");
}

TORCH_LIBRARY_IMPL(flash_attn_3, CPU, m) { m.impl("fwd", &fwd); }
