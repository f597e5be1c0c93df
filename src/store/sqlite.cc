#include "store/sqlite.h"

namespace ember {
namespace {

constexpr int kBusyTimeoutMs = 5000;

// What a failure means to the caller: try again later, a clash with what is there, or a fault.
ErrorCode error_code(int status) {
  switch (status & 0xff) {
    case SQLITE_FULL:
    case SQLITE_IOERR:
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY:
    case SQLITE_NOMEM:
      return ErrorCode::unavailable;
    case SQLITE_CONSTRAINT:
      return ErrorCode::conflict;
    default:
      return ErrorCode::internal;
  }
}

Error failure(sqlite3* database) {
  const int status = sqlite3_extended_errcode(database);
  return {error_code(status), "state database: " + std::string(sqlite3_errmsg(database))};
}

}  // namespace

std::string Statement::text(int column) const {
  const auto* bytes = reinterpret_cast<const char*>(sqlite3_column_text(handle_.get(), column));
  const int length = sqlite3_column_bytes(handle_.get(), column);
  return bytes ? std::string(bytes, static_cast<std::size_t>(length)) : std::string();
}

void Statement::bind(int position, std::string_view value) {
  // The text outlives the run; an empty view has a null pointer, which would bind NULL.
  const char* bytes = value.data() ? value.data() : "";
  if (status_ == SQLITE_OK) {
    status_ = sqlite3_bind_text64(handle_.get(), position, bytes, value.size(), SQLITE_STATIC,
                                  SQLITE_UTF8);
  }
}

void Statement::bind_integer(int position, std::int64_t value) {
  if (status_ == SQLITE_OK) status_ = sqlite3_bind_int64(handle_.get(), position, value);
}

bool Statement::step() {
  if (status_ == SQLITE_OK || status_ == SQLITE_ROW) status_ = sqlite3_step(handle_.get());
  return status_ == SQLITE_ROW;
}

Result<> Statement::finish() {
  const bool done = status_ == SQLITE_DONE;
  Result<> result = done ? Result<>(Ok{}) : Result<>(failure(database_));
  sqlite3_reset(handle_.get());
  sqlite3_clear_bindings(handle_.get());
  status_ = SQLITE_OK;
  return result;
}

Result<Database> Database::open(const std::string& path) {
  sqlite3* handle = nullptr;
  constexpr int kFlags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
  const int status = sqlite3_open_v2(path.c_str(), &handle, kFlags, nullptr);
  Database database(handle);
  if (status != SQLITE_OK) return failure(handle).within(path);
  sqlite3_extended_result_codes(handle, 1);
  sqlite3_busy_timeout(handle, kBusyTimeoutMs);
  auto ready = database.execute(
      "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;");
  if (!ready) return std::move(ready).error().within(path);
  return database;
}

Result<> Database::execute(const std::string& sql) {
  if (sqlite3_exec(handle_.get(), sql.c_str(), nullptr, nullptr, nullptr) == SQLITE_OK) return Ok{};
  return failure(handle_.get());
}

Result<Statement> Database::prepare(std::string_view sql) {
  sqlite3_stmt* statement = nullptr;
  const int status = sqlite3_prepare_v3(handle_.get(), sql.data(), static_cast<int>(sql.size()),
                                        SQLITE_PREPARE_PERSISTENT, &statement, nullptr);
  if (status != SQLITE_OK) return failure(handle_.get());
  return Statement(handle_.get(), statement);
}

void Database::roll_back() {
  if (sqlite3_get_autocommit(handle_.get())) return;
  sqlite3_exec(handle_.get(), "ROLLBACK", nullptr, nullptr, nullptr);
}

}  // namespace ember
