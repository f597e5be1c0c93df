// Questions for names and their answers, as RFC 1035 has them. Both come from outside: what is read
// here, by libresolv's own parser, is not taken for true, only for well made.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ember {

enum class DnsCode : std::uint8_t {
  no_error = 0,
  format_error = 1,
  server_failure = 2,
  no_such_name = 3,
  not_implemented = 4,
};

struct DnsQuestion {
  std::uint16_t id = 0;
  bool recursion_desired = false;
  DnsCode fault = DnsCode::no_error;  // another: it can only be told so, and the rest is empty
  std::string name = {};              // in its own case, without the last dot
  std::uint16_t type = 0;
  std::size_t most_bytes = 512;  // of an answer that comes by datagram

  // What tells of addresses that no container has a way to: IPv6, and hints beside a name.
  bool is_for_other_addresses() const;
};

struct DnsAnswer {
  bool truncated = false;                     // the rest is empty
  std::vector<std::uint32_t> addresses = {};  // of IPv4, in the host's byte order
  std::string bytes = {};
};

// Nothing: it is no question, and nobody waits for an answer.
std::optional<DnsQuestion> read_question(std::string_view message);
// Nothing: it is not the answer to this question, asked under the id.
std::optional<DnsAnswer> read_answer(std::string_view message, const DnsQuestion& question,
                                     std::uint16_t id);

// The question alone, whatever else came with it, for a name server.
std::string write_question(const DnsQuestion& question, std::uint16_t id);
// An answer without records, for who asked.
std::string write_answer(const DnsQuestion& question, DnsCode code);
// The answer as it came, for who asked.
std::string pass_on(std::string answer, const DnsQuestion& question);
// The same, if need be cut so that it goes into one datagram: then it is to be asked for by TCP.
std::string fitted(std::string answer, const DnsQuestion& question);

}  // namespace ember
