// The configuration of an OCI image, as skopeo prints it: what of it Ember goes by. The text comes
// from strangers.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "model/environment.h"

namespace ember {

struct OciConfig {
  Environment env;
  std::string working_directory;  // empty: none
};

// invalid_argument: it is none, breaks the limits of model/environment.h, or is of another machine
// than `architecture` ("amd64").
Result<OciConfig> read_oci_config(std::string_view text, std::string_view architecture);

// This machine's, as OCI names it.
std::string_view machine_architecture();

}  // namespace ember
