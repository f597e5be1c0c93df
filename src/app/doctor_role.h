// `emberd doctor`: looks at the machine, or with --state at the store and the ledger, and says for
// each trouble what to do.
#pragma once

#include <string>
#include <vector>

#include "app/node_role.h"
#include "base/finding.h"
#include "base/result.h"

namespace ember {

struct DoctorFlags {
  NodeFlags node;        // of the one that the self-test is run by
  std::string database;  // with --state: another file than the data directory's
  bool state = false;
  bool json = false;
};

// What is wrong with that database, or that nothing is. Reads alone, beside a server too.
std::vector<Finding> examine_state(const std::string& path);

// Prints the findings. The process's exit status: 0, or 5 where any is a trouble.
Result<int> run_doctor_role(DoctorFlags flags);

}  // namespace ember
