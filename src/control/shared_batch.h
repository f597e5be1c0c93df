// Several values as one body: a line of JSON that says what they are, then their bytes, one after
// the other.
//
//   {"items": [{"key": "a", "format": "pickle", "size_bytes": 12}, …], "more": false}\n…
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "control/shared_service.h"

namespace ember {

// Keys are there for a dictionary alone. At most kMaxItemsAtOnce.
Result<std::vector<SharedItem>> parse_shared_batch(SharedKind kind, std::string_view batch);

std::string shared_batch(SharedKind kind, const SharedItems& items);
// The line alone, of items whose values are left out.
std::string shared_listing(SharedKind kind, const SharedItems& items);

}  // namespace ember
