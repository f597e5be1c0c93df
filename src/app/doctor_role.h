// `emberd doctor`: looks at the machine, or with --state at the store and the ledger, and says for
// each trouble what to do.
#pragma once

#include <string>
#include <vector>

#include "base/finding.h"
#include "base/result.h"
#include "node/node_options.h"

namespace ember {

struct DoctorFlags {
  std::string data;
  std::string database;  // with --state: another file than the data directory's
  std::string isolation = "auto";
  std::vector<std::string> python;  // NAME=DIRECTORY
  bool state = false;
  bool json = false;
  NodeOptions options;
};

// What is wrong with that database, or that nothing is. Reads alone, beside a server too.
std::vector<Finding> examine_state(const std::string& path);

// Prints the findings. The process's exit status: 0, or 5 where any is a trouble.
Result<int> run_doctor_role(DoctorFlags flags);

}  // namespace ember
