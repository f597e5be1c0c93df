// The variables that a function adds to the environment of its containers.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace ember {

using Environment = std::vector<std::pair<std::string, std::string>>;  // name, value

// Letters, digits and '_', and no digit first: what every shell takes.
bool is_env_name(std::string_view name);

// The limits of one of them; `path` as in check_env().
Result<> check_variable(std::string_view name, std::string_view value, std::string_view path);

// Every limit of an environment; `path` is how messages name it: "functions[2].env".
Result<> check_env(const Environment& env, std::string_view path = "env");

}  // namespace ember
