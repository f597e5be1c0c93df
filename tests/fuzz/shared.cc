// covers: src/control/shared_batch.cc src/control/shared_requests.cc src/control/json.cc
//
// What containers and clients ask of dictionaries and queues: of a batch that is accepted each byte
// behind its first line is in one value, its items are those that the line lists, and what is given
// out of them is read as the same.
#include <cstring>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "base/assert.h"
#include "control/shared_batch.h"
#include "control/shared_requests.h"
#include "targets.h"

namespace ember::fuzz {
namespace {

// A batch as a client would send it on that has got this one from the server.
std::string sent_on(const std::string& batch) {
  const std::size_t line = batch.find('\n');
  auto listed = nlohmann::json::parse(batch.substr(0, line));
  EMBER_ASSERT(listed.erase("more") == 1);
  for (auto& item : listed["items"]) item.erase("sequence");
  return listed.dump() + batch.substr(line);
}

void check_written(SharedKind kind, const std::vector<SharedItem>& items) {
  const auto again = parse_shared_batch(kind, sent_on(shared_batch(kind, {items, true})));
  EMBER_ASSERT(again.ok() && again->size() == items.size());
  for (std::size_t i = 0; i < items.size(); ++i) {
    EMBER_ASSERT((*again)[i].key == items[i].key);
    EMBER_ASSERT((*again)[i].value.format == items[i].value.format);
    EMBER_ASSERT((*again)[i].value.bytes == items[i].value.bytes);
  }
}

void batch(SharedKind kind, std::string_view bytes) {
  const auto items = parse_shared_batch(kind, bytes);
  if (!items.ok()) return;
  const std::size_t line = bytes.find('\n');
  const auto listed = nlohmann::json::parse(bytes.substr(0, line), nullptr, false);
  EMBER_ASSERT(listed.is_object() && listed["items"].size() == items->size());
  EMBER_ASSERT(std::cmp_less_equal(items->size(), kMaxItemsAtOnce));
  std::string values;
  for (std::size_t i = 0; i < items->size(); ++i) {
    const SharedItem& item = (*items)[i];
    EMBER_ASSERT(std::cmp_equal(item.size_bytes, item.value.bytes.size()));
    if (kind == SharedKind::dict) EMBER_ASSERT(listed["items"][i]["key"] == item.key);
    values += item.value.bytes;
  }
  EMBER_ASSERT(values == bytes.substr(line + 1));
  check_written(kind, *items);
}

void request(std::string_view bytes) {
  const auto asked = parse_shared_request(std::string(bytes));
  if (!asked.ok()) return;
  std::uint16_t length = 0;
  std::memcpy(&length, bytes.data(), sizeof length);
  EMBER_ASSERT(asked->bytes == bytes.substr(sizeof length + length));
  const auto head = nlohmann::json::parse(bytes.substr(sizeof length, length), nullptr, false);
  EMBER_ASSERT(head.is_object() && head["name"] == asked->name.name);
  EMBER_ASSERT(head["action"] == asked->action);
  EMBER_ASSERT(asked->has_partition == head.contains("partition"));
  EMBER_ASSERT(head["kind"] == (asked->name.kind == SharedKind::dict ? "dict" : "queue"));
  if (asked->action == "put") batch(asked->name.kind, asked->bytes);
}

}  // namespace

void shared(std::string_view bytes) {
  const Input input(bytes);
  switch (input.choice % 3) {
    case 0:
      return batch(SharedKind::dict, input.rest);
    case 1:
      return batch(SharedKind::queue, input.rest);
    default:
      return request(input.rest);
  }
}

}  // namespace ember::fuzz
