// SQLite's C handles as scope types, and its error codes as Results. Nothing above this file sees a
// sqlite3 pointer.
#pragma once

#include <sqlite3.h>

#include <concepts>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "base/result.h"

namespace ember {

// Bytes of any kind, as a parameter.
struct Blob {
  std::string_view bytes;
};

// A prepared statement. Used by one thread; reset after each use, so it never keeps a lock.
class Statement {
 public:
  // Binds the values in order and runs the statement to its end, giving each row to `on_row`.
  // `on_row` takes this statement and reads its columns.
  template <class OnRow, class... Values>
  Result<> each(OnRow&& on_row, const Values&... values) {
    int position = 0;
    (bind(++position, values), ...);
    while (step()) on_row(*this);
    return finish();
  }
  template <class... Values>
  Result<> run(const Values&... values) {
    return each([](Statement&) {}, values...);
  }

  std::int64_t integer(int column) const { return sqlite3_column_int64(handle_.get(), column); }
  std::string text(int column) const;
  std::string blob(int column) const;
  bool is_null(int column) const {
    return sqlite3_column_type(handle_.get(), column) == SQLITE_NULL;
  }

 private:
  friend class Database;
  struct Finalize {
    void operator()(sqlite3_stmt* handle) const { sqlite3_finalize(handle); }
  };

  Statement(sqlite3* database, sqlite3_stmt* handle) : database_(database), handle_(handle) {}

  template <std::integral Value>
  void bind(int position, Value value) {
    bind_integer(position, static_cast<std::int64_t>(value));
  }
  void bind(int position, std::string_view value);
  void bind(int position, Blob value);
  void bind_integer(int position, std::int64_t value);
  bool step();        // whether there is a row
  Result<> finish();  // how it went; resets

  sqlite3* database_;
  std::unique_ptr<sqlite3_stmt, Finalize> handle_;
  int status_ = SQLITE_OK;
};

class Database {
 public:
  // Opens or makes the file, in WAL mode and with an fsync for each commit.
  static Result<Database> open(const std::string& path);

  // Opens a file that is there, to read alone; a server may write to it meanwhile.
  static Result<Database> open_to_read(const std::string& path);

  Result<> execute(const std::string& sql);  // one statement or several
  Result<Statement> prepare(std::string_view sql);
  // Ends a transaction that failed. SQLite may have ended it by itself; then this does nothing.
  void roll_back();

 private:
  struct Close {
    void operator()(sqlite3* handle) const { sqlite3_close_v2(handle); }
  };

  explicit Database(sqlite3* handle) : handle_(handle) {}

  // `name` is the file as SQLite is to open it, `path` as an error tells of it.
  static Result<Database> open_as(const std::string& name, int flags, const std::string& path);

  std::unique_ptr<sqlite3, Close> handle_;
};

}  // namespace ember
