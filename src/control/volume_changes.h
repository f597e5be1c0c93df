// Changes of a volume as clients ask for them: a JSON document a line (docs/reference/http.md).
#pragma once

#include <string>
#include <string_view>

#include "control/volume_layer.h"

namespace ember {

// Made on the builder in their order; the first that is wrong is told, with its line.
Result<> apply_changes(std::string_view lines, VolumeBlobs& blobs, LayerBuilder& builder);

// `{"needed": [id…], "maybe": [head…]}`: which of the files, a document a line, are not stored;
// and of those asked for by their first chunk, which may be.
Result<std::string> needed_files(std::string_view lines, VolumeBlobs& blobs);

// The message of the first line, where that is one; "put" otherwise.
std::string message_of(std::string_view lines);

}  // namespace ember
