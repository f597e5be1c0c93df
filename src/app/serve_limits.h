// How much the server and the node may take on, by what the machine lets them open.
#pragma once

#include <cstddef>

namespace ember {

// Raises the limit of open descriptors as far as this process may, and returns it.
std::size_t raise_descriptor_limit();

// How many clients to take of the `wanted`, so that descriptors are left for runners, arguments in
// files and the state.
std::size_t connections_within(std::size_t descriptors, std::size_t wanted);

// The same for web endpoints, of what those leave, or of a quarter of what is kept back.
std::size_t web_connections_within(std::size_t descriptors, std::size_t wanted);

}  // namespace ember
