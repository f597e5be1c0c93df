#include "control/sealed_box.h"

#include <sodium.h>

#include "base/assert.h"

namespace ember {
namespace {

constexpr char kFormat = 1;
constexpr std::size_t kKeyBytes = crypto_aead_xchacha20poly1305_ietf_KEYBYTES;
constexpr std::size_t kNonceBytes = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES;
constexpr std::size_t kTagBytes = crypto_aead_xchacha20poly1305_ietf_ABYTES;
constexpr std::size_t kSealedKeyBytes = kNonceBytes + kKeyBytes + kTagBytes;

static_assert(MasterKey::kBytes == kKeyBytes);

const unsigned char* bytes_of(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

// What tells a data key's box from its text's, lest one is put in the place of the other.
std::string bound(char part, std::string_view belongs_to) {
  return std::string(1, part).append(belongs_to);
}

void append_sealed(std::string& box, const unsigned char* key, const std::string& bound_to,
                   std::string_view text) {
  const std::size_t begin = box.size();
  box.resize(begin + kNonceBytes + text.size() + kTagBytes);
  auto* nonce = reinterpret_cast<unsigned char*>(box.data() + begin);
  randombytes_buf(nonce, kNonceBytes);
  crypto_aead_xchacha20poly1305_ietf_encrypt(nonce + kNonceBytes, nullptr, bytes_of(text),
                                             text.size(), bytes_of(bound_to), bound_to.size(),
                                             nullptr, nonce, key);
}

std::optional<SecretBytes> opened(const unsigned char* key, const std::string& bound_to,
                                  std::string_view sealed) {
  if (sealed.size() < kNonceBytes + kTagBytes) return std::nullopt;
  const std::string_view text = sealed.substr(kNonceBytes);
  SecretBytes out(text.size() - kTagBytes);
  const int status = crypto_aead_xchacha20poly1305_ietf_decrypt(
      out.data(), nullptr, nullptr, bytes_of(text), text.size(), bytes_of(bound_to),
      bound_to.size(), bytes_of(sealed), key);
  if (status != 0) return std::nullopt;
  return out;
}

std::string base64(std::string_view bytes) {
  constexpr int kVariant = sodium_base64_VARIANT_ORIGINAL;
  std::string text(sodium_base64_encoded_len(bytes.size(), kVariant), '\0');
  sodium_bin2base64(text.data(), text.size(), bytes_of(bytes), bytes.size(), kVariant);
  text.pop_back();  // the zero at its end
  return text;
}

std::optional<std::string> from_base64(std::string_view text) {
  std::string bytes(text.size() / 4 * 3, '\0');
  std::size_t size = 0;
  const int status =
      sodium_base642bin(reinterpret_cast<unsigned char*>(bytes.data()), bytes.size(), text.data(),
                        text.size(), nullptr, &size, nullptr, sodium_base64_VARIANT_ORIGINAL);
  if (status != 0) return std::nullopt;
  bytes.resize(size);
  return bytes;
}

}  // namespace

MasterKey MasterKey::generate() {
  SecretBytes bytes(kBytes);
  randombytes_buf(bytes.data(), kBytes);
  return MasterKey(std::move(bytes));
}

Result<MasterKey> MasterKey::parse(std::string_view text) {
  SecretBytes bytes(kBytes);
  std::size_t length = 0;
  const bool right = text.size() == 2 * kBytes &&
                     sodium_hex2bin(bytes.data(), kBytes, text.data(), text.size(), nullptr,
                                    &length, nullptr) == 0 &&
                     length == kBytes;
  if (right) return MasterKey(std::move(bytes));
  return {ErrorCode::invalid_argument,
          "the master key must be 64 hex digits, as `openssl rand -hex 32` makes them"};
}

SecretBytes MasterKey::text() const {
  SecretBytes terminated(2 * kBytes + 1);
  sodium_bin2hex(reinterpret_cast<char*>(terminated.data()), terminated.size(), bytes_.data(),
                 bytes_.size());
  return SecretBytes(terminated.view().substr(0, 2 * kBytes));
}

std::string seal(const MasterKey& key, std::string_view belongs_to, std::string_view text) {
  SecretBytes data_key(kKeyBytes);
  randombytes_buf(data_key.data(), data_key.size());
  std::string box(1, kFormat);
  append_sealed(box, key.bytes(), bound('k', belongs_to), data_key.view());
  append_sealed(box, data_key.data(), bound('t', belongs_to), text);
  return base64(box);
}

std::optional<SecretBytes> unseal(const MasterKey& key, std::string_view belongs_to,
                                  std::string_view text) {
  const auto bytes = from_base64(text);
  if (!bytes || bytes->size() < 1 + kSealedKeyBytes || (*bytes)[0] != kFormat) return std::nullopt;
  const std::string_view box = std::string_view(*bytes).substr(1);
  const auto data_key = opened(key.bytes(), bound('k', belongs_to), box.substr(0, kSealedKeyBytes));
  if (!data_key) return std::nullopt;
  return opened(data_key->data(), bound('t', belongs_to), box.substr(kSealedKeyBytes));
}

}  // namespace ember
