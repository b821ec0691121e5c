// What tch lacks, as C functions. Each returns null, or a message that `lopper_free` releases; no exception leaves.

#include <ATen/autocast_mode.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/Context.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <ATen/ops/_foreach_mul.h>
#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/_fused_adam.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/_fused_sgd.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/stack.h>
#include <torch/csrc/inductor/aoti_torch/c/shim.h>

#include <dlfcn.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <vector>

namespace {

using at::Tensor;
using Tensors = std::vector<Tensor>;

char out_of_memory[] = "out of memory";

char *message(const char *text) noexcept {
  char *copy = strdup(text);
  return copy ? copy : out_of_memory;
}

template <class F> char *caught(F &&f) noexcept {
  try {
    f();
    return nullptr;
  } catch (const c10::Error &e) {
    return message(e.what_without_backtrace());
  } catch (const std::exception &e) {
    return message(e.what());
  } catch (...) {
    return message("an exception of an unknown type");
  }
}

Tensors list(Tensor *const *tensors, size_t n) {
  Tensors result;
  result.reserve(n);
  for (size_t i = 0; i < n; i++) {
    TORCH_CHECK(tensors[i]->defined(), "tensor ", i, " of the list is undefined");
    result.push_back(*tensors[i]);
  }
  return result;
}

// The fused kernels walk raw memory and check neither shape nor stride on a CPU.
void check_like(const Tensor &param, const Tensor &other, const char *what, size_t i) {
  TORCH_CHECK(other.layout() == at::kStrided && other.sizes() == param.sizes() &&
                  other.scalar_type() == param.scalar_type() && other.device() == param.device(),
              what, " ", i, " is ", other.toString(), " ", other.sizes(), " on ", other.device(), ", its parameter ",
              param.toString(), " ", param.sizes(), " on ", param.device());
}

Tensors params_of(Tensor *const *tensors, size_t n) {
  Tensors params = list(tensors, n);
  for (size_t i = 0; i < n; i++) {
    TORCH_CHECK(params[i].layout() == at::kStrided && params[i].is_contiguous(), "parameter ", i, " is not contiguous");
    TORCH_CHECK(params[i].device() == params[0].device() && params[i].scalar_type() == params[0].scalar_type(),
                "parameters 0 and ", i, " differ in device or type");
  }
  return params;
}

Tensors state_of(const Tensors &params, Tensor *const *tensors, const char *what) {
  Tensors result = list(tensors, params.size());
  for (size_t i = 0; i < params.size(); i++) {
    check_like(params[i], result[i], what, i);
    TORCH_CHECK(result[i].is_contiguous(), what, " ", i, " is not contiguous");
  }
  return result;
}

Tensors gradients_of(const Tensors &params, Tensor *const *tensors) {
  Tensors result = list(tensors, params.size());
  for (size_t i = 0; i < params.size(); i++) {
    check_like(params[i], result[i], "gradient", i);
    result[i] = result[i].contiguous();
  }
  return result;
}

int nesting() {
  at::autocast::increment_nesting();
  return at::autocast::decrement_nesting();
}

} // namespace

extern "C" {

void lopper_free(char *text) {
  if (text != out_of_memory)
    free(text);
}

char *lopper_fused_adam(bool decoupled, size_t n, Tensor *const *params_, Tensor *const *gradients_,
                        Tensor *const *exp_avgs_, Tensor *const *exp_avg_sqs_, const uint64_t *steps_, double rate,
                        double beta1, double beta2, double weight_decay, double epsilon) {
  return caught([&] {
    if (n == 0)
      return;
    at::NoGradGuard no_grad;
    Tensors params = params_of(params_, n);
    Tensors gradients = gradients_of(params, gradients_);
    Tensors exp_avgs = state_of(params, exp_avgs_, "exp_avg");
    Tensors exp_avg_sqs = state_of(params, exp_avg_sqs_, "exp_avg_sq");
    // One filled scalar for each distinct count, which is one for nearly every model.
    std::map<uint64_t, Tensor> scalars;
    Tensors steps;
    for (size_t i = 0; i < n; i++) {
      auto &scalar = scalars[steps_[i]];
      if (!scalar.defined())
        scalar = at::full({}, static_cast<double>(steps_[i]), params[0].options().dtype(at::kFloat));
      steps.push_back(scalar);
    }
    auto step = decoupled ? static_cast<decltype(&at::_ops::_fused_adamw_::call)>(at::_ops::_fused_adamw_::call)
                          : static_cast<decltype(&at::_ops::_fused_adamw_::call)>(at::_ops::_fused_adam_::call);
    step(params, gradients, exp_avgs, exp_avg_sqs, {}, steps, rate, beta1, beta2, weight_decay, epsilon, false, false,
         {}, {});
  });
}

char *lopper_fused_sgd(size_t n, Tensor *const *params_, Tensor *const *gradients_, Tensor *const *momenta_,
                       double rate, double momentum, double weight_decay) {
  return caught([&] {
    if (n == 0)
      return;
    at::NoGradGuard no_grad;
    Tensors params = params_of(params_, n);
    Tensors gradients = gradients_of(params, gradients_);
    Tensors momenta;
    if (momenta_)
      momenta = state_of(params, momenta_, "momentum");
    at::_fused_sgd_(params, gradients, momenta, weight_decay, momentum, rate, 0.0, false, false, false);
  });
}

char *lopper_global_norm(size_t n, Tensor *const *tensors, Tensor **norm) {
  return caught([&] {
    at::NoGradGuard no_grad;
    *norm = new Tensor(at::linalg_vector_norm(at::stack(at::_foreach_norm(list(tensors, n), 2)), 2));
  });
}

char *lopper_scale(size_t n, Tensor *const *tensors, double factor) {
  return caught([&] {
    if (n == 0)
      return;
    at::NoGradGuard no_grad;
    at::_foreach_mul_(list(tensors, n), factor);
  });
}

char *lopper_clear_gradient(Tensor *tensor) {
  return caught([&] {
    if (tensor->defined() && tensor->grad().defined())
      tensor->mutable_grad().reset();
  });
}

// Null data for a tensor that is no plain host memory of float32 in row-major order.
char *lopper_host_data(Tensor *tensor, bool write, void **data, size_t *len) {
  return caught([&] {
    *data = nullptr;
    *len = 0;
    if (!tensor->defined() || tensor->layout() != at::kStrided || !tensor->device().is_cpu() ||
        tensor->scalar_type() != at::kFloat || tensor->is_neg() || tensor->_is_zerotensor() ||
        !tensor->is_contiguous() || !tensor->has_storage())
      return;
    // An empty tensor may have no memory at all.
    *len = static_cast<size_t>(tensor->numel());
    if (*len == 0)
      *data = reinterpret_cast<void *>(alignof(float));
    else if (write) {
      tensor->unsafeGetTensorImpl()->bump_version();
      *data = tensor->mutable_data_ptr<float>();
    } else
      *data = const_cast<float *>(tensor->const_data_ptr<float>());
    if (reinterpret_cast<uintptr_t>(*data) % alignof(float) != 0)
      *data = nullptr;
  });
}

struct LopperMode {
  int32_t grad, nesting, enabled[2], type[2];
};

static const at::DeviceType devices[2] = {at::kCPU, at::kCUDA};

char *lopper_mode_get(LopperMode *mode) {
  return caught([&] {
    mode->grad = at::GradMode::is_enabled();
    mode->nesting = nesting();
    for (int i = 0; i < 2; i++) {
      mode->enabled[i] = at::autocast::is_autocast_enabled(devices[i]);
      mode->type[i] = static_cast<int32_t>(at::autocast::get_autocast_dtype(devices[i]));
    }
  });
}

char *lopper_mode_set(const LopperMode *mode) {
  return caught([&] {
    at::GradMode::set_enabled(mode->grad);
    for (int i = 0; i < 2; i++) {
      at::autocast::set_autocast_enabled(devices[i], mode->enabled[i]);
      at::autocast::set_autocast_dtype(devices[i], static_cast<at::ScalarType>(mode->type[i]));
    }
    int now = nesting();
    for (; now < mode->nesting; now++)
      at::autocast::increment_nesting();
    for (; now > mode->nesting; now--)
      at::autocast::decrement_nesting();
    if (now == 0)
      at::autocast::clear_cache();
  });
}

char *lopper_autocast_bf16(bool cuda, bool enabled) {
  return caught([&] {
    at::autocast::increment_nesting();
    at::autocast::set_autocast_enabled(devices[cuda], enabled);
    if (enabled)
      at::autocast::set_autocast_dtype(devices[cuda], at::kBFloat16);
  });
}

char *lopper_cuda_device_count(int32_t *count) {
  return caught([&] { *count = at::detail::getCUDAHooks().deviceCount(); });
}

// The version of the loaded library, not of the headers: one byte each from the top.
uint64_t lopper_libtorch_version() { return aoti_torch_abi_version(); }

// The file of the loaded libtorch_cpu; null when the system does not say.
char *lopper_libtorch_file() {
  Dl_info info;
  if (dladdr(reinterpret_cast<void *>(&aoti_torch_abi_version), &info) == 0 || !info.dli_fname)
    return nullptr;
  return message(info.dli_fname);
}

} // extern "C"
