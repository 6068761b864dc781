// Memory for a large result, without the page faults of fresh memory: a page of 4 KiB takes the
// system several times as long as filling it takes the kernels.
#pragma once

#include <cstdlib>
#include <new>
#include <utility>

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace genie {

// Whole huge pages, where the system grants them. The last ones given back are kept for the next
// request of their size. Construct and destroy under Python's lock.
class Pages {
 public:
  explicit Pages(size_t size) : block_{nullptr, (size + kHugePage - 1) / kHugePage * kHugePage} {
    if (kept_.size == block_.size) block_.data = std::exchange(kept_.data, nullptr);
    if (block_.data == nullptr) block_.data = allocate(block_.size);
  }
  ~Pages() {
    if (block_.size <= kMostKept) std::swap(kept_, block_);
    std::free(block_.data);
  }
  Pages(const Pages&) = delete;
  Pages& operator=(const Pages&) = delete;

  void* data() const { return block_.data; }
  size_t size() const { return block_.size; }

 private:
  struct Block {
    void* data;
    size_t size;
  };

  static constexpr size_t kHugePage = size_t{1} << 21;
  static constexpr size_t kMostKept = size_t{1} << 26;  // what malloc itself keeps at most

  static void* allocate(size_t size) {
    void* data = std::aligned_alloc(kHugePage, size);
    if (data == nullptr) throw std::bad_alloc();
#ifdef MADV_HUGEPAGE
    madvise(data, size, MADV_HUGEPAGE);
#endif
    return data;
  }

  static inline Block kept_{};
  Block block_;
};

}  // namespace genie
