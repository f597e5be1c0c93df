// Making a network namespace by entering a new one, and visiting another: of the calling thread
// alone.
#pragma once

#include <functional>

#include "base/result.h"
#include "node/unique_fd.h"

namespace ember {

// A descriptor of the namespace the calling thread is in; errno says why there is none.
UniqueFd open_own_network_namespace();

// Enters a new one, whose interfaces will not speak IPv6: it leads nowhere here, and the kernel
// would look for one again and again, and be metered for it. False: errno says why.
bool enter_new_network_namespace();

// Does it in the namespace, and comes back.
Result<> in_network_namespace(const UniqueFd& there, const std::function<Result<>()>& what);

}  // namespace ember
