#include "control/key_text.h"

#include <openssl/rand.h>

#include <array>
#include <boost/crc.hpp>

#include "base/assert.h"

namespace ember {
namespace {

constexpr std::string_view kPrefix = "ember_";
constexpr std::string_view kDigits = "0123456789abcdefghjkmnpqrstvwxyz";
constexpr std::size_t kRandomDigits = 52, kCheckDigits = 7;

std::string check_of(std::string_view random_digits) {
  boost::crc_32_type crc;
  crc.process_bytes(random_digits.data(), random_digits.size());
  std::string check(kCheckDigits, '0');
  std::uint32_t rest = crc.checksum();
  for (auto digit = check.rbegin(); digit != check.rend(); ++digit, rest >>= 5) {
    *digit = kDigits[rest & 31];
  }
  return check;
}

}  // namespace

std::string generate_key() {
  std::array<unsigned char, 34> bytes{};  // the last ones are padding for the last digit
  const int done = RAND_bytes(bytes.data(), 32);
  EMBER_ASSERT(done == 1);
  std::string digits;
  for (std::size_t bit = 0; digits.size() < kRandomDigits; bit += 5) {
    const unsigned pair = (bytes[bit / 8] << 8) | bytes[bit / 8 + 1];
    digits += kDigits[(pair >> (11 - bit % 8)) & 31];
  }
  return std::string(kPrefix) + digits + check_of(digits);
}

bool is_damaged_key(std::string_view key_text) {
  if (!key_text.starts_with(kPrefix)) return false;
  key_text.remove_prefix(kPrefix.size());
  if (key_text.size() != kRandomDigits + kCheckDigits) return true;
  return key_text.substr(kRandomDigits) != check_of(key_text.substr(0, kRandomDigits));
}

}  // namespace ember
