// Groups of processes on one machine that exchange tensors through libtorch's own Gloo, over the loopback interface.
//
// Every function waits until its own part of the exchange is done; one that waits for another process longer than the group's time
// limit throws. After an exception the group's processes may be at different places, so it must not be used again.

#include <ATen/core/Tensor.h>
#include <torch/csrc/distributed/c10d/FileStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "guarded.h"

using torch_ext::guarded;

namespace {

// Only this machine's processes belong to a group.
constexpr const char* LOOPBACK = "127.0.0.1";

using Group = c10::intrusive_ptr<c10d::ProcessGroupGloo>;

Group& of(void* group) {
  return *static_cast<Group*>(group);
}

}  // namespace

extern "C" {

// Joins the `size` processes that meet at `file`, which must not exist before the first of them comes.
int torch_ext_group_join(
    const char* file, int32_t rank, int32_t size, int64_t timeout_ms, void** out, char* message, size_t room) {
  return guarded(message, room, [&] {
    const std::chrono::milliseconds timeout(timeout_ms);
    auto store = c10::make_intrusive<c10d::FileStore>(std::string(file), size);
    store->setTimeout(timeout);
    auto options = c10d::ProcessGroupGloo::Options::create(timeout);
    options->devices.push_back(c10d::ProcessGroupGloo::createDeviceForHostname(LOOPBACK));
    *out = new Group(c10::make_intrusive<c10d::ProcessGroupGloo>(store, rank, size, options));
  });
}

void torch_ext_group_free(void* group) {
  delete static_cast<Group*>(group);
}

// Rows of `in` to all processes, `in_rows` to each in order; `out` receives `out_rows` from each. Both are contiguous.
int torch_ext_group_all_to_all(
    void* group, const at::Tensor* out, const at::Tensor* in, const int64_t* out_rows, const int64_t* in_rows, size_t size,
    char* message, size_t room) {
  return guarded(message, room, [&] {
    at::Tensor to = *out;
    at::Tensor from = *in;
    std::vector<int64_t> to_rows(out_rows, out_rows + size);
    std::vector<int64_t> from_rows(in_rows, in_rows + size);
    of(group)->alltoall_base(to, from, to_rows, from_rows, c10d::AllToAllOptions())->wait();
  });
}

// The same tensor from each process, into `out`, one after the other along the first axis.
int torch_ext_group_all_gather(void* group, const at::Tensor* out, const at::Tensor* in, char* message, size_t room) {
  return guarded(message, room, [&] {
    at::Tensor to = *out;
    at::Tensor from = *in;
    of(group)->_allgather_base(to, from, c10d::AllgatherOptions())->wait();
  });
}

// `tensor` of process `root`, into `tensor` of all.
int torch_ext_group_broadcast(void* group, const at::Tensor* tensor, int32_t root, char* message, size_t room) {
  return guarded(message, room, [&] {
    std::vector<at::Tensor> tensors{*tensor};
    c10d::BroadcastOptions options;
    options.rootRank = root;
    options.rootTensor = 0;
    of(group)->broadcast(tensors, options)->wait();
  });
}

int torch_ext_group_send(void* group, const at::Tensor* tensor, int32_t to, char* message, size_t room) {
  return guarded(message, room, [&] {
    std::vector<at::Tensor> tensors{*tensor};
    of(group)->send(tensors, to, 0)->wait();
  });
}

int torch_ext_group_receive(void* group, const at::Tensor* tensor, int32_t from, char* message, size_t room) {
  return guarded(message, room, [&] {
    std::vector<at::Tensor> tensors{*tensor};
    of(group)->recv(tensors, from, 0)->wait();
  });
}

}  // extern "C"
