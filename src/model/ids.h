// The identifiers of the domain and the prefixes people see.
#pragma once

#include "base/id.h"

namespace ember {

#define EMBER_ID(Name, prefix)                          \
  struct Name##Tag {                                    \
    static constexpr std::string_view kPrefix = prefix; \
  };                                                    \
  using Name = Id<Name##Tag>

EMBER_ID(AppId, "ap");
EMBER_ID(FunctionId, "fu");  // one named function of an app, over all its versions
EMBER_ID(PoolId, "po");      // the containers of one function version with one set of options
EMBER_ID(CallId, "fc");
EMBER_ID(InputId, "in");
EMBER_ID(ContainerId, "ct");
EMBER_ID(NodeId, "no");
EMBER_ID(DeviceId, "gp");
EMBER_ID(KeyId, "ak");
EMBER_ID(LeaseId, "le");  // of devices to a person

#undef EMBER_ID

// Which execution of an input this is, from 1. It is a fence: a result counts only if it carries
// the attempt that the engine dispatched last.
using Attempt = std::uint16_t;

}  // namespace ember
