// Looks at dictionaries and queues.
#pragma once

#include <vector>

#include "base/result.h"
#include "store/shared_store.h"
#include "store/sqlite.h"

namespace ember {

// All that there are, by id.
Result<> read_shared_records(Database& database, std::vector<SharedRecord>& records);

// Of one moment.
Result<SharedAnswer> read_shared(Database& database, const SharedQuery& query);

}  // namespace ember
