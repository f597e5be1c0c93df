// From an id to the slot of its record: a hash table with open addressing that can only be looked
// up, so nothing can come to depend on its order. It allocates only to grow.
#pragma once

#include <cstdint>
#include <vector>

#include "base/assert.h"
#include "base/id.h"
#include "base/slab.h"

namespace ember {

template <class IdType>
class IdIndex {
 public:
  std::size_t size() const { return size_; }

  // kNoSlot for an id that is not in; the zero id never is.
  Slot find(IdType id) const {
    if (size_ == 0 || !id) return kNoSlot;
    for (std::size_t at = home(id);; at = next(at)) {
      if (cells_[at].id == id) return cells_[at].slot;
      if (!cells_[at].id) return kNoSlot;
    }
  }

  // The id must be new and not zero.
  void insert(IdType id, Slot slot) {
    EMBER_ASSERT(id);
    if (4 * (size_ + 1) > 3 * cells_.size()) grow();
    put(id, slot);
    ++size_;
  }

  // Nothing happens if the id is not in.
  void erase(IdType id) {
    if (find(id) == kNoSlot) return;
    std::size_t hole = home(id);
    while (cells_[hole].id != id) hole = next(hole);
    // Cells after the hole move back into it unless that would put them before their home.
    for (std::size_t at = next(hole); cells_[at].id; at = next(at)) {
      if (distance(home(cells_[at].id), at) < distance(hole, at)) continue;
      cells_[hole] = cells_[at];
      hole = at;
    }
    cells_[hole] = {};
    --size_;
  }

 private:
  struct Cell {
    IdType id;
    Slot slot = kNoSlot;
  };

  std::size_t home(IdType id) const { return IdHash{}(id) & (cells_.size() - 1); }
  std::size_t next(std::size_t at) const { return (at + 1) & (cells_.size() - 1); }
  std::size_t distance(std::size_t from, std::size_t to) const {
    return (to - from) & (cells_.size() - 1);
  }

  void put(IdType id, Slot slot) {
    std::size_t at = home(id);
    while (cells_[at].id) {
      EMBER_ASSERT(cells_[at].id != id);
      at = next(at);
    }
    cells_[at] = {id, slot};
  }

  void grow() {
    std::vector<Cell> old(cells_.empty() ? 16 : 2 * cells_.size());
    old.swap(cells_);
    for (const Cell& cell : old) {
      if (cell.id) put(cell.id, cell.slot);
    }
  }

  std::vector<Cell> cells_;
  std::size_t size_ = 0;
};

}  // namespace ember
