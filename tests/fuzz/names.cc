// covers: src/node/dns_message.cc
//
// Questions for names that containers send, and what comes back as their answers: what is written
// for either reads as what it was written for, and nothing is found that the bytes have no room
// for.
#include <string>

#include "base/assert.h"
#include "node/dns_message.h"
#include "targets.h"

namespace ember::fuzz {
namespace {

constexpr std::size_t kHeaderBytes = 12, kFlags = 2;
constexpr std::size_t kShortestRecord = 15;   // with an address
constexpr std::size_t kMostNameBytes = 1024;  // each byte of 255 as four

void check_question(std::string_view bytes) {
  const auto question = read_question(bytes);
  if (!question) return;
  const std::string told = write_answer(*question, DnsCode::no_such_name);
  EMBER_ASSERT(!read_question(told));
  EMBER_ASSERT(fitted(told, *question) == told);
  if (question->fault != DnsCode::no_error) return;
  EMBER_ASSERT(question->name.size() <= kMostNameBytes);
  EMBER_ASSERT(question->most_bytes >= 512 && question->most_bytes <= 4096);
  const auto again = read_question(write_question(*question, 7));
  EMBER_ASSERT(again && again->fault == DnsCode::no_error && again->id == 7);
  EMBER_ASSERT(again->name == question->name && again->type == question->type);
  const auto answer = read_answer(told, *question, question->id);
  EMBER_ASSERT(answer && !answer->truncated && answer->addresses.empty());
}

// As the answer to the question that it repeats.
void check_answer(std::string_view bytes) {
  if (bytes.size() < kHeaderBytes) return;
  std::string asked(bytes);
  asked[kFlags] = 0;
  const auto question = read_question(asked);
  if (!question || question->fault != DnsCode::no_error) return;
  const auto answer = read_answer(bytes, *question, question->id);
  if (!answer) return;
  if (answer->truncated) {
    EMBER_ASSERT(answer->addresses.empty() && answer->bytes.empty());
    return;
  }
  EMBER_ASSERT(answer->addresses.size() * kShortestRecord <= bytes.size());
  EMBER_ASSERT(pass_on(answer->bytes, *question) == bytes);
  const std::string fit = fitted(answer->bytes, *question);
  EMBER_ASSERT(fit.size() <= question->most_bytes);
  EMBER_ASSERT(read_answer(fit, *question, question->id));
}

}  // namespace

void names(std::string_view bytes) {
  const Input input(bytes);
  if (input.choice % 2 == 0) {
    check_question(input.rest);
  } else {
    check_answer(input.rest);
  }
}

}  // namespace ember::fuzz
