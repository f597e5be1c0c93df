// What is mounted where, as the kernel tells (mountinfo of proc(5)).
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace ember {

// The mount points below the directory, each once, an outer one before those within it.
std::vector<std::string> mount_points_below(const std::string& directory,
                                            std::string_view mountinfo);

}  // namespace ember
