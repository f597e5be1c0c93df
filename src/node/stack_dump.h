// What the Python threads of a process are doing, by py-spy, which reads it from outside: the
// process runs on, and cannot tell. py-spy reads memory that a stranger wrote, so it runs as
// nobody, without a network, with the two privileges that reading takes.
#pragma once

#include <boost/asio/io_context.hpp>
#include <functional>
#include <string>

#include "base/result.h"
#include "node/process_table.h"

namespace ember {

struct StackDump {
  std::string py_spy;  // the program's path; empty: it is not installed
  pid_t process = 0;
};

// Calls back once, from the loop, with py-spy's JSON: {"threads": [...]}.
void dump_stacks(boost::asio::io_context& loop, ProcessTable& processes, const StackDump& dump,
                 std::function<void(Result<std::string>)> done);

}  // namespace ember
