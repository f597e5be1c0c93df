// Memory for what must not be left behind: out of swap where the machine allows it, wiped when it
// is given back.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "control/json.h"

namespace ember {

// A fixed number of bytes between guard pages.
class SecretBytes {
 public:
  SecretBytes() = default;
  explicit SecretBytes(std::size_t size);  // zeros
  explicit SecretBytes(std::string_view bytes);
  SecretBytes(const SecretBytes& other) : SecretBytes(other.view()) {}
  SecretBytes(SecretBytes&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  SecretBytes& operator=(SecretBytes other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~SecretBytes();

  unsigned char* data() { return data_; }
  const unsigned char* data() const { return data_; }
  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  std::string_view view() const { return {reinterpret_cast<const char*>(data_), size_}; }

 private:
  unsigned char* data_ = nullptr;
  std::size_t size_ = 0;
};

// Wipes what others own, for memory that is not SecretBytes from its beginning.
void wipe(std::span<char> bytes);
void wipe(JsonValue& value);  // every text in it

// Wipes its target when it goes out of scope. Borrows.
template <class Target>
class WipedAtEnd {
 public:
  explicit WipedAtEnd(Target& target) : target_(target) {}
  ~WipedAtEnd() { wipe(target_); }
  WipedAtEnd(const WipedAtEnd&) = delete;
  WipedAtEnd& operator=(const WipedAtEnd&) = delete;

 private:
  Target& target_;
};

}  // namespace ember
