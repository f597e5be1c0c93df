// Events and actions as one line of text, for the trace of a failing run.
#pragma once

#include <string>

#include "engine/action.h"
#include "engine/event.h"

namespace ember {

std::string describe(const Event& event);
std::string describe(const Action& action);

}  // namespace ember
