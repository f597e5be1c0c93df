// Rows to records: the whole at start, and the queries.
#pragma once

#include <vector>

#include "base/result.h"
#include "store/sqlite.h"
#include "store/store.h"

namespace ember {

// Of a row of all columns of `containers`.
ContainerRecord container_of(const Statement& row);

// Of a row of all columns of `leases`.
LeaseRecord lease_of(const Statement& row);

// All of the snapshot but its epoch.
Result<> read_snapshot(Database& database, Snapshot& snapshot);

Result<std::vector<CostRow>> read_cost(Database& database, const CostQuery& query);
// Newest last.
Result<std::vector<VersionRecord>> read_versions(Database& database, AppId app);
Result<VersionRecord> read_version(Database& database, AppId app, std::uint32_t version);
Result<StoredCall> read_call(Database& database, CallId call);
Result<StoredCall> read_call_by_key(Database& database, WorkspaceId workspace,
                                    const std::string& idempotency_key);
Result<std::vector<StoredCall>> read_calls(Database& database, const CallQuery& query);
// Those that these have made, oldest first.
Result<std::vector<StoredCall>> read_children(Database& database,
                                              const std::vector<CallId>& parents,
                                              std::size_t limit);
Result<ContainerRecord> read_container(Database& database, ContainerId container);

}  // namespace ember
