#include "control/secret_bytes.h"

#include <sodium.h>

#include <cstring>
#include <new>

#include "base/assert.h"

namespace ember {
namespace {

unsigned char* allocate(std::size_t size) {
  static const int ready = sodium_init();
  EMBER_ASSERT(ready >= 0);
  void* memory = sodium_malloc(size);  // locked if the limit allows it
  if (!memory) throw std::bad_alloc();
  return static_cast<unsigned char*>(memory);
}

}  // namespace

SecretBytes::SecretBytes(std::size_t size) : size_(size) {
  if (size == 0) return;
  data_ = allocate(size);
  sodium_memzero(data_, size);
}

SecretBytes::SecretBytes(std::string_view bytes) : SecretBytes(bytes.size()) {
  if (!bytes.empty()) std::memcpy(data_, bytes.data(), bytes.size());
}

SecretBytes::~SecretBytes() {
  if (data_) sodium_free(data_);
}

void wipe(std::span<char> bytes) { sodium_memzero(bytes.data(), bytes.size()); }

void wipe(JsonValue& value) {
  if (value.is_string()) {
    wipe(std::span<char>(value.get_ref<std::string&>()));
  } else if (value.is_structured()) {
    for (JsonValue& inner : value) wipe(inner);
  }
}

}  // namespace ember
