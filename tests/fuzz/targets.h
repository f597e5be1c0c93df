// What is fuzzed: each target takes any bytes and must survive them. A target states more than that
// where it can: what is accepted obeys rules that the code under test does not share, or is read
// alike however it is cut.
//
// One file per target; its first lines name the sources whose coverage it answers for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace ember::fuzz {

void connection(std::string_view bytes);
void frames(std::string_view bytes);
void http(std::string_view bytes);
void messages(std::string_view bytes);
void names(std::string_view bytes);
void oci_config(std::string_view bytes);
void records(std::string_view bytes);
void requests(std::string_view bytes);
void requirement(std::string_view bytes);
void shared(std::string_view bytes);
void web(std::string_view bytes);

struct Target {
  const char* name;
  void (*run)(std::string_view bytes);
};

inline constexpr Target kTargets[] = {
    {"connection", connection}, {"frames", frames},     {"http", http},
    {"messages", messages},     {"names", names},       {"oci_config", oci_config},
    {"records", records},       {"requests", requests}, {"requirement", requirement},
    {"shared", shared},         {"web", web},
};

// The first byte of an input is not for the code under test: it chooses how the rest is cut, or who
// reads it.
struct Input {
  explicit Input(std::string_view bytes)
      : choice(bytes.empty() ? 0 : static_cast<std::uint8_t>(bytes[0])),
        rest(bytes.substr(bytes.empty() ? 0 : 1)) {}

  std::uint8_t choice;
  std::string_view rest;
};

}  // namespace ember::fuzz
