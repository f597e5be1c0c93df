#include "node/dns_message.h"

#include <arpa/nameser.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace ember {
namespace {

constexpr std::size_t kHeaderBytes = NS_HFIXEDSZ;
constexpr std::size_t kIdBytes = 2;
constexpr std::size_t kMostDatagramBytes = 4096;  // whatever the asker says that it takes
constexpr std::uint16_t kTypeOfSizes = 41;        // OPT: its class is a size, RFC 6891
constexpr std::uint16_t kTypeSvcb = 64, kTypeHttps = 65;
constexpr std::uint8_t kTruncated = 0x02;  // in the header's third byte

// The second word of a header.
constexpr std::uint16_t kIsAnswer = 0x8000, kIsTruncated = 0x0200, kRecursionDesired = 0x0100,
                        kRecursionThere = 0x0080, kKind = 0x7800;

const std::uint8_t* bytes_of(std::string_view message) {
  return reinterpret_cast<const std::uint8_t*>(message.data());
}

bool parse(std::string_view message, ns_msg& parsed) {
  return message.size() <= NS_MAXMSG &&
         ns_initparse(bytes_of(message), static_cast<int>(message.size()), &parsed) == 0;
}

bool read_record(ns_msg& message, ns_sect section, int number, ns_rr& record) {
  return ns_parserr(&message, section, number, &record) == 0;
}

void put(std::string& bytes, std::uint16_t word) {
  bytes += static_cast<char>(word >> 8);
  bytes += static_cast<char>(word & 0xff);
}

std::uint16_t word_at(std::string_view bytes, std::size_t place) {
  return static_cast<std::uint16_t>(static_cast<std::uint8_t>(bytes[place]) << 8 |
                                    static_cast<std::uint8_t>(bytes[place + 1]));
}

// Labels with their lengths, no compression; empty if it is no name.
std::string name_bytes(const std::string& name) {
  std::array<std::uint8_t, NS_MAXCDNAME> bytes{};
  if (ns_name_pton(name.c_str(), bytes.data(), bytes.size()) < 0) return "";
  std::size_t end = 0;
  while (bytes[end] != 0) end += 1 + bytes[end];
  return {reinterpret_cast<const char*>(bytes.data()), end + 1};
}

std::string write(const DnsQuestion& question, std::uint16_t id, std::uint16_t flags) {
  const bool has_question = question.fault == DnsCode::no_error;
  std::string bytes;
  put(bytes, id);
  put(bytes, flags);
  put(bytes, has_question ? 1 : 0);
  for (int section = 0; section < 3; ++section) put(bytes, 0);
  if (!has_question) return bytes;
  bytes += name_bytes(question.name);
  put(bytes, question.type);
  put(bytes, ns_c_in);
  return bytes;
}

std::string write_empty_answer(const DnsQuestion& question, DnsCode code, std::uint16_t flags) {
  flags |= kIsAnswer | kRecursionThere | static_cast<std::uint16_t>(code);
  if (question.recursion_desired) flags |= kRecursionDesired;
  return write(question, question.id, flags);
}

bool same_name(std::string_view one, std::string_view other) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? char(c - 'A' + 'a') : c; };
  return std::ranges::equal(one, other, {}, lower, lower);
}

// What the asker takes by datagram: said beside the question.
std::size_t most_bytes_of(ns_msg& message) {
  for (int i = 0; i < ns_msg_count(message, ns_s_ar); ++i) {
    ns_rr record;
    if (!read_record(message, ns_s_ar, i, record)) break;
    if (ns_rr_type(record) != kTypeOfSizes) continue;
    return std::clamp<std::size_t>(ns_rr_class(record), NS_PACKETSZ, kMostDatagramBytes);
  }
  return NS_PACKETSZ;
}

DnsQuestion faulty(DnsQuestion question, DnsCode fault) {
  question.fault = fault;
  return question;
}

}  // namespace

bool DnsQuestion::is_for_other_addresses() const {
  return type == ns_t_aaaa || type == kTypeSvcb || type == kTypeHttps;
}

std::optional<DnsQuestion> read_question(std::string_view message) {
  if (message.size() < kHeaderBytes) return std::nullopt;
  const std::uint16_t flags = word_at(message, kIdBytes);
  if ((flags & kIsAnswer) != 0) return std::nullopt;
  DnsQuestion question{.id = word_at(message, 0),
                       .recursion_desired = (flags & kRecursionDesired) != 0};
  ns_msg parsed;
  if (!parse(message, parsed)) return faulty(std::move(question), DnsCode::format_error);
  if ((flags & kKind) != 0) {
    return faulty(std::move(question), DnsCode::not_implemented);
  }
  ns_rr asked;
  if (ns_msg_count(parsed, ns_s_qd) != 1 || !read_record(parsed, ns_s_qd, 0, asked) ||
      name_bytes(ns_rr_name(asked)).empty()) {
    return faulty(std::move(question), DnsCode::format_error);
  }
  if (ns_rr_class(asked) != ns_c_in) return faulty(std::move(question), DnsCode::not_implemented);
  question.name = ns_rr_name(asked);
  question.type = ns_rr_type(asked);
  question.most_bytes = most_bytes_of(parsed);
  return question;
}

std::optional<DnsAnswer> read_answer(std::string_view message, const DnsQuestion& question,
                                     std::uint16_t id) {
  if (message.size() < kHeaderBytes || word_at(message, 0) != id) return std::nullopt;
  if ((word_at(message, kIdBytes) & kIsAnswer) == 0) return std::nullopt;
  // It may be cut anywhere.
  if ((message[kIdBytes] & kTruncated) != 0) return DnsAnswer{.truncated = true};
  ns_msg parsed;
  ns_rr record;
  if (!parse(message, parsed) || ns_msg_count(parsed, ns_s_qd) != 1 ||
      !read_record(parsed, ns_s_qd, 0, record) || !same_name(ns_rr_name(record), question.name) ||
      ns_rr_type(record) != question.type || ns_rr_class(record) != ns_c_in) {
    return std::nullopt;
  }
  DnsAnswer answer{.bytes = std::string(message)};
  for (int i = 0; i < ns_msg_count(parsed, ns_s_an); ++i) {
    if (!read_record(parsed, ns_s_an, i, record)) return std::nullopt;
    if (ns_rr_type(record) != ns_t_a || ns_rr_class(record) != ns_c_in) continue;
    if (ns_rr_rdlen(record) != NS_INADDRSZ) return std::nullopt;
    answer.addresses.push_back(static_cast<std::uint32_t>(ns_get32(ns_rr_rdata(record))));
  }
  return answer;
}

std::string write_question(const DnsQuestion& question, std::uint16_t id) {
  return write(question, id, kRecursionDesired);
}

std::string write_answer(const DnsQuestion& question, DnsCode code) {
  return write_empty_answer(question, code, 0);
}

std::string pass_on(std::string answer, const DnsQuestion& question) {
  answer[0] = static_cast<char>(question.id >> 8);
  answer[1] = static_cast<char>(question.id & 0xff);
  return answer;
}

std::string fitted(std::string answer, const DnsQuestion& question) {
  if (answer.size() <= question.most_bytes) return answer;
  return write_empty_answer(question, DnsCode::no_error, kIsTruncated);
}

}  // namespace ember
