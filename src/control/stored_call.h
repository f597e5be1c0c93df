// Calls for later as the store keeps them: their end as a record, and the record as whoever asks
// for it sees it.
#pragma once

#include "control/async_calls.h"
#include "control/json.h"
#include "store/store.h"

namespace ember {

CallEndRecord end_record(CallId call, Time ended, const CallOutcome& outcome);

// Of one that has ended.
CallOutcome outcome_of(const StoredCall& stored);
// In a list, and by itself.
JsonValue entry_of(const StoredCall& stored);
JsonValue document_of(const StoredCall& stored);

}  // namespace ember
