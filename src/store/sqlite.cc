#include "store/sqlite.h"

#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "base/disk_error.h"

namespace ember {
namespace {

constexpr int kBusyTimeoutMs = 5000;

// What a failure means to the caller: a disk that takes no writes, try again later, a clash with
// what is there, or a fault.
Error failure(sqlite3* database, const std::string& path) {
  const int status = sqlite3_extended_errcode(database);
  const int cause = sqlite3_system_errno(database);
  const std::string text = path + ": " + sqlite3_errmsg(database);
  switch (status & 0xff) {
    case SQLITE_FULL:
      return disk_error(path, ENOSPC);
    case SQLITE_READONLY:
      return disk_error(path, EROFS);
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
      if (cause != 0) return disk_error(path, cause);
      return {ErrorCode::storage_failed, text};
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_NOMEM:
      return {ErrorCode::unavailable, text};
    case SQLITE_CONSTRAINT:
      return {ErrorCode::conflict, text};
    default:
      return {ErrorCode::internal, text};
  }
}

// A path as part of a URI.
std::string escaped(const std::string& path) {
  std::string text;
  for (const char c : path) {
    if (c == '%' || c == '?' || c == '#') {
      text += c == '%' ? "%25" : c == '?' ? "%3f" : "%23";
    } else {
      text += c;
    }
  }
  return text;
}

Error failure(sqlite3* database) {
  const char* path = sqlite3_db_filename(database, "main");
  return failure(database, path ? path : "");
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

std::string Statement::blob(int column) const {
  const auto* bytes = static_cast<const char*>(sqlite3_column_blob(handle_.get(), column));
  const int length = sqlite3_column_bytes(handle_.get(), column);
  return bytes ? std::string(bytes, static_cast<std::size_t>(length)) : std::string();
}

void Statement::bind(int position, Blob value) {
  const char* bytes = value.bytes.data() ? value.bytes.data() : "";
  if (status_ == SQLITE_OK) {
    status_ =
        sqlite3_bind_blob64(handle_.get(), position, bytes, value.bytes.size(), SQLITE_STATIC);
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

Result<Database> Database::open_as(const std::string& name, int flags, const std::string& path) {
  sqlite3* handle = nullptr;
  const int status = sqlite3_open_v2(name.c_str(), &handle, flags | SQLITE_OPEN_NOMUTEX, nullptr);
  Database database(handle);
  if (status != SQLITE_OK) return failure(handle, path);
  sqlite3_extended_result_codes(handle, 1);
  sqlite3_busy_timeout(handle, kBusyTimeoutMs);
  return database;
}

Result<Database> Database::open(const std::string& path) {
  auto database = open_as(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, path);
  if (!database) return database;
  // Little is ever deleted, and what is, such as sealed values, is to be gone.
  auto ready = database->execute(
      "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; "
      "PRAGMA secure_delete = ON;");
  if (!ready) return std::move(ready).error();
  return database;
}

Result<Database> Database::open_to_read(const std::string& path) {
  // Readers of a log too write beside the file, to be seen by its writer. Where that cannot be,
  // nobody writes; without a log the file alone is the whole.
  const std::string directory = std::filesystem::absolute(path).parent_path().string();
  const bool is_still = ::access(directory.c_str(), W_OK) != 0 && errno == EROFS &&
                        ::access((path + "-wal").c_str(), F_OK) != 0;
  const std::string uri = "file:" + escaped(path) + "?mode=ro" + (is_still ? "&immutable=1" : "");
  return open_as(uri, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, path);
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
