// 128-bit intermediates, so that products of money and milliseconds cannot overflow.
#pragma once

namespace ember {

__extension__ using Int128 = __int128;
__extension__ using Uint128 = unsigned __int128;

}  // namespace ember
