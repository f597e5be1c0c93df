// Records that live in numbered slots, and lists and heaps threaded through them.
//
// A slot is a small integer that stays valid until its record is removed; records never move, so
// references to them survive additions. Removed slots are used again, last removed first, so a
// steady load allocates nothing. Slots are an address, never an order: whatever must be ordered is
// ordered by what is in the record.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "base/assert.h"

namespace ember {

using Slot = std::uint32_t;
inline constexpr Slot kNoSlot = ~Slot{0};

template <class T>
class Slab {
 public:
  T& operator[](Slot slot) { return chunks_[slot / kChunk][slot % kChunk]; }
  const T& operator[](Slot slot) const { return chunks_[slot / kChunk][slot % kChunk]; }
  std::size_t size() const { return used_ - free_.size(); }
  // Slots in use and removed ones are all below this.
  Slot extent() const { return used_; }

  // A slot whose record is a fresh T.
  Slot add() {
    if (!free_.empty()) {
      const Slot slot = free_.back();
      free_.pop_back();
      return slot;
    }
    if (used_ % kChunk == 0) chunks_.push_back(std::make_unique<T[]>(kChunk));
    return used_++;
  }

  void remove(Slot slot) {
    (*this)[slot] = T{};
    free_.push_back(slot);
  }

 private:
  static constexpr Slot kChunk = 256;
  std::vector<std::unique_ptr<T[]>> chunks_;
  std::vector<Slot> free_;
  Slot used_ = 0;
};

// Where a record stands in a list; one for each list that it may be in at the same time.
struct Links {
  Slot previous = kNoSlot;
  Slot next = kNoSlot;
};

// A doubly linked list through the member kLinks of slab records. Every step is O(1).
template <class T, Links T::*kLinks>
class SlotList {
 public:
  bool empty() const { return size_ == 0; }
  std::uint32_t size() const { return size_; }
  Slot front() const { return first_; }
  Slot back() const { return last_; }
  static Slot next(const Slab<T>& slab, Slot slot) { return (slab[slot].*kLinks).next; }
  static Slot previous(const Slab<T>& slab, Slot slot) { return (slab[slot].*kLinks).previous; }

  void push_back(Slab<T>& slab, Slot slot) {
    slab[slot].*kLinks = {last_, kNoSlot};
    (last_ == kNoSlot ? first_ : (slab[last_].*kLinks).next) = slot;
    last_ = slot;
    ++size_;
  }

  void remove(Slab<T>& slab, Slot slot) {
    Links& links = slab[slot].*kLinks;
    (links.previous == kNoSlot ? first_ : (slab[links.previous].*kLinks).next) = links.next;
    (links.next == kNoSlot ? last_ : (slab[links.next].*kLinks).previous) = links.previous;
    links = {};
    --size_;
  }

 private:
  Slot first_ = kNoSlot;
  Slot last_ = kNoSlot;
  std::uint32_t size_ = 0;
};

// A binary heap of slots, least key first. The member kPosition of a record says where it stands,
// so a key can be changed and an entry removed in O(log n). Keys must be distinct.
template <class Key, class T, std::uint32_t T::*kPosition>
class SlotHeap {
 public:
  struct Entry {
    Key key;
    Slot slot = kNoSlot;
  };

  bool empty() const { return entries_.empty(); }
  std::size_t size() const { return entries_.size(); }
  const Entry& top() const { return entries_.front(); }
  // The key the record stands under; null if it is not in the heap.
  const Key* key(const T& record) const {
    return record.*kPosition == kNoSlot ? nullptr : &entries_[record.*kPosition].key;
  }

  // Puts the slot in, or moves it to another key.
  void put(Slab<T>& slab, Slot slot, const Key& key) {
    std::uint32_t position = slab[slot].*kPosition;
    if (position == kNoSlot) {
      position = static_cast<std::uint32_t>(entries_.size());
      entries_.push_back({key, slot});
      rise(slab, position);
      return;
    }
    const bool earlier = key < entries_[position].key;
    entries_[position].key = key;
    earlier ? rise(slab, position) : sink(slab, position);
  }

  // Takes the slot out; nothing happens if it is not in.
  void remove(Slab<T>& slab, Slot slot) {
    const std::uint32_t position = slab[slot].*kPosition;
    if (position == kNoSlot) return;
    slab[slot].*kPosition = kNoSlot;
    const Entry last = entries_.back();
    entries_.pop_back();
    if (last.slot == slot) return;
    const bool earlier = last.key < entries_[position].key;
    entries_[position] = last;
    earlier ? rise(slab, position) : sink(slab, position);
  }

 private:
  void rise(Slab<T>& slab, std::uint32_t position) {
    const Entry entry = entries_[position];
    while (position > 0) {
      const std::uint32_t parent = (position - 1) / 2;
      if (!(entry.key < entries_[parent].key)) break;
      set(slab, position, entries_[parent]);
      position = parent;
    }
    set(slab, position, entry);
  }

  void sink(Slab<T>& slab, std::uint32_t position) {
    const Entry entry = entries_[position];
    for (;;) {
      std::uint32_t child = 2 * position + 1;
      if (child >= entries_.size()) break;
      if (child + 1 < entries_.size() && entries_[child + 1].key < entries_[child].key) ++child;
      if (!(entries_[child].key < entry.key)) break;
      set(slab, position, entries_[child]);
      position = child;
    }
    set(slab, position, entry);
  }

  void set(Slab<T>& slab, std::uint32_t position, const Entry& entry) {
    entries_[position] = entry;
    slab[entry.slot].*kPosition = position;
  }

  std::vector<Entry> entries_;
};

}  // namespace ember
