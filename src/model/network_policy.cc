#include "model/network_policy.h"

#include <algorithm>

namespace ember {
namespace {

constexpr NetworkAccess kByName[] = {NetworkAccess::internet, NetworkAccess::none};
constexpr std::size_t kShownBytes = 64;
constexpr std::size_t kMostDestinations = 64;
constexpr std::size_t kMostNameBytes = 253;  // RFC 1035, 2.3.4, as text
constexpr std::size_t kMostLabelBytes = 63;
constexpr std::string_view kAnyBelow = "*.";

std::string quoted(std::string_view text) {
  return '"' + std::string(text.substr(0, kShownBytes)) + '"';
}

std::string lower_case(std::string_view text) {
  std::string lower(text);
  std::ranges::transform(lower, lower.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? char(c - 'A' + 'a') : c; });
  return lower;
}

bool is_label(std::string_view label) {
  const auto is_fine = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
  };
  return !label.empty() && label.size() <= kMostLabelBytes && std::ranges::all_of(label, is_fine);
}

// Labels with dots between; the last one has a letter, so that no address is taken for a name.
bool is_host_name(std::string_view name) {
  if (name.size() > kMostNameBytes) return false;
  for (;;) {
    const auto dot = name.find('.');
    if (!is_label(name.substr(0, dot))) return false;
    if (dot == std::string_view::npos) break;
    name.remove_prefix(dot + 1);
  }
  return std::ranges::any_of(name, [](char c) { return c >= 'A'; });
}

bool is_network(std::string_view text) {
  return text.find('/') != std::string_view::npos || parse_network(text).ok();
}

Result<> check_destination(std::string_view text) {
  if (is_network(text)) {
    auto network = parse_network(text);
    if (!network.ok()) return std::move(network).error();
    return Ok{};
  }
  const bool below = text.starts_with(kAnyBelow);
  if (is_host_name(below ? text.substr(kAnyBelow.size()) : text)) return Ok{};
  return {ErrorCode::invalid_argument,
          quoted(text) +
              " is no destination: use a network of IPv4 (\"203.0.113.0/24\"), a name "
              "(\"example.org\") or all names below one (\"*.example.org\")"};
}

}  // namespace

bool Destinations::has(std::string_view name) const {
  const std::string lower = lower_case(name);
  if (std::ranges::find(names, lower) != names.end()) return true;
  return std::ranges::any_of(parents, [&](const std::string& parent) {
    return lower.size() > parent.size() + 1 && lower.ends_with(parent) &&
           lower[lower.size() - parent.size() - 1] == '.';
  });
}

std::string_view network_access_name(NetworkAccess access) {
  switch (access) {
    case NetworkAccess::internet:
      return "internet";
    case NetworkAccess::none:
      return "none";
    case NetworkAccess::listed:
      return "listed";
  }
  return "none";
}

Result<NetworkPolicy> parse_network_policy(std::string_view text) {
  for (const NetworkAccess access : kByName) {
    if (text == network_access_name(access)) return NetworkPolicy{.access = access};
  }
  return {ErrorCode::invalid_argument,
          quoted(text) + " is not known; \"internet\", \"none\" and a list of destinations are"};
}

Result<NetworkPolicy> listed_destinations(std::vector<std::string> destinations) {
  if (destinations.empty() || destinations.size() > kMostDestinations) {
    return {ErrorCode::invalid_argument, "must list 1 to 64 destinations; \"none\" is for none"};
  }
  for (const std::string& one : destinations) {
    if (auto fine = check_destination(one); !fine.ok()) return std::move(fine).error();
  }
  return NetworkPolicy{NetworkAccess::listed, std::move(destinations)};
}

Destinations destinations_of(const NetworkPolicy& policy) {
  Destinations all;
  for (const std::string& one : policy.destinations) {
    if (const auto network = parse_network(one); network.ok()) {
      all.networks.push_back(*network);
    } else if (one.starts_with(kAnyBelow)) {
      all.parents.push_back(lower_case(one.substr(kAnyBelow.size())));
    } else {
      all.names.push_back(lower_case(one));
    }
  }
  return all;
}

}  // namespace ember
