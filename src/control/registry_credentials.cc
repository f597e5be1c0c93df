#include "control/registry_credentials.h"

#include <sodium.h>
#include <sys/mman.h>

#include <cerrno>
#include <cstring>

namespace ember {
namespace {

constexpr const char* kUser = "REGISTRY_USERNAME";
constexpr const char* kPassword = "REGISTRY_PASSWORD";
constexpr int kBase64 = sodium_base64_VARIANT_ORIGINAL;

// Base64 has nothing that JSON would escape, and a registry's name neither (check_reference).
SecretBytes config_json(const std::string& registry, std::string_view user,
                        std::string_view password) {
  SecretBytes pair(user.size() + 1 + password.size());
  std::memcpy(pair.data(), user.data(), user.size());
  pair.data()[user.size()] = ':';
  std::memcpy(pair.data() + user.size() + 1, password.data(), password.size());
  const std::string before = "{\"auths\":{\"" + registry + "\":{\"auth\":\"", after = "\"}}}";
  const std::size_t encoded = sodium_base64_ENCODED_LEN(pair.size(), kBase64);  // with a zero
  SecretBytes text(before.size() + encoded - 1 + after.size());
  SecretBytes base64(encoded);
  sodium_bin2base64(reinterpret_cast<char*>(base64.data()), encoded, pair.data(), pair.size(),
                    kBase64);
  std::memcpy(text.data(), before.data(), before.size());
  std::memcpy(text.data() + before.size(), base64.data(), encoded - 1);
  std::memcpy(text.data() + before.size() + encoded - 1, after.data(), after.size());
  return text;
}

}  // namespace

std::string registry_of(const std::string& reference) {
  const std::string first = reference.substr(0, reference.find('/'));
  const bool is_host = first.size() < reference.size() &&
                       (first.find_first_of(".:") != std::string::npos || first == "localhost");
  return is_host ? first : "docker.io";
}

Result<UniqueFd> registry_credentials(const Secrets& secrets, const std::string& secret,
                                      const std::string& reference) {
  auto values = secrets.open(secret, {kUser, kPassword}, "auth");
  if (!values) return std::move(values).error();
  const SecretBytes text = config_json(registry_of(reference), *value_in(values->view(), kUser),
                                       *value_in(values->view(), kPassword));
  UniqueFd file(::memfd_create("registry", MFD_CLOEXEC));
  if (!file || ::write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    return {ErrorCode::unavailable, std::string("a file of memory: ") + std::strerror(errno)};
  }
  return file;
}

}  // namespace ember
