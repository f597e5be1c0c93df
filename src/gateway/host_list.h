// Which Host names a server answers to. A page on another site can make a browser speak to
// 127.0.0.1 under a name of its own (DNS rebinding); a server on a loopback address therefore
// answers only to names that mean this machine, and to those it was told.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace ember {

bool is_loopback(std::string_view address);

class HostList {
 public:
  // On other addresses than loopback ones every name is allowed.
  HostList(std::string_view listen_address, std::vector<std::string> names);
  // `host` is a Host field: a name or address, with or without port.
  bool allows(std::string_view host) const;

 private:
  bool any_ = false;
  std::vector<std::string> names_;
};

}  // namespace ember
