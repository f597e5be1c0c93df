// The schema, as numbered steps that only go forward. A step that has been released never changes.
#pragma once

#include <cstdint>

#include "base/result.h"
#include "store/sqlite.h"

namespace ember {

std::int64_t newest_schema();

// Brings the database to schema `target`, each step in a transaction of its own. A database that is
// newer than `target` is refused: an older Ember would not understand it.
Result<> migrate(Database& database, std::int64_t target);

}  // namespace ember
