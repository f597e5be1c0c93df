#include "app/serve_limits.h"

#include <sys/resource.h>

#include <algorithm>

namespace ember {
namespace {

constexpr std::size_t kOwnDescriptors = 2048;

std::size_t kept_back(std::size_t descriptors) {
  return std::min(kOwnDescriptors, descriptors / 2);
}

}  // namespace

std::size_t raise_descriptor_limit() {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  const rlimit raised{limit.rlim_max, limit.rlim_max};
  if (::setrlimit(RLIMIT_NOFILE, &raised) == 0) limit = raised;
  return limit.rlim_cur;
}

std::size_t connections_within(std::size_t descriptors, std::size_t wanted) {
  return std::min(wanted, descriptors - kept_back(descriptors));
}

std::size_t web_connections_within(std::size_t descriptors, std::size_t wanted) {
  const std::size_t own = kept_back(descriptors);
  const std::size_t left = descriptors - own - connections_within(descriptors, wanted);
  return std::min(wanted, std::max(left, own / 4));
}

}  // namespace ember
