// Calls for later as the store keeps them: their end as a record, and the record as whoever asks
// for it sees it.
#pragma once

#include "control/async_calls.h"
#include "control/json.h"
#include "store/store.h"

namespace ember {

// What a failure is called by to callers.
std::string_view told_code(const CallFailure& failure);

// `progress`: the last that it told; null for none.
CallEndRecord end_record(CallId call, Time ended, const CallOutcome& outcome,
                         const JsonValue& progress);

// Of one that has ended.
CallOutcome outcome_of(const StoredCall& stored);
// Where its time and money went; of one without an end all is zero.
CallReport stored_report(const StoredCall& stored);
// In a list, and by itself.
JsonValue entry_of(const StoredCall& stored);
JsonValue document_of(const StoredCall& stored);

}  // namespace ember
