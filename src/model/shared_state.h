// State that functions share by its name: dictionaries and queues. What lies in them is opaque
// bytes here, in a format that their writers chose.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/time.h"
#include "model/body_format.h"
#include "model/ids.h"

namespace ember {

struct SharedIdTag {
  static constexpr std::string_view kPrefix = "sh";
};
using SharedId = Id<SharedIdTag>;

enum class SharedKind : std::uint8_t { dict, queue };
// "dict", "queue".
std::string_view shared_kind_name(SharedKind kind);

struct SharedValue {
  BodyFormat format = BodyFormat::none;
  std::string bytes;
};

// An entry of a dictionary or an item of a queue.
struct SharedItem {
  std::string key;              // of an entry
  std::int64_t sequence = 0;    // of an item: the later it was put, the greater
  std::int64_t size_bytes = 0;  // of the value, also where that is left out
  SharedValue value = {};
};

// Of a put of an entry that is there already.
enum class WhenThere : std::uint8_t { replace, skip };
// Of a look.
enum class Values : std::uint8_t { leave_out, read };

inline constexpr std::size_t kMaxDictKeyBytes = 2048;
inline constexpr std::size_t kMaxDictValueBytes = 64u << 20;
inline constexpr std::int64_t kMaxDictEntries = 1'000'000;
inline constexpr std::size_t kMaxQueueItemBytes = 1u << 20;
inline constexpr std::int64_t kMaxPartitionItems = 100'000;
inline constexpr std::int64_t kMaxPartitions = 10'000;  // of one queue
inline constexpr std::size_t kMaxPartitionName = 64;
inline constexpr std::int64_t kMaxItemsAtOnce = 10'000;    // of one put or take
inline constexpr std::int64_t kMaxBytesAtOnce = 16 << 20;  // of one take or page, but for its first
inline constexpr Duration kPartitionTtl = Duration::seconds(24 * 3600);  // since the last put
inline constexpr Duration kMaxPartitionTtl = Duration::seconds(7 * 24 * 3600);

// UTF-8 of 1 to kMaxDictKeyBytes bytes, without zero bytes.
Result<> check_dict_key(std::string_view key);
// UTF-8 of at most kMaxPartitionName bytes, without zero bytes. The empty one is the partition of
// those that name none.
Result<> check_partition(std::string_view name);
// Whether a value is not too large for where it goes.
Result<> check_shared_value(SharedKind kind, std::size_t size_bytes);

}  // namespace ember
