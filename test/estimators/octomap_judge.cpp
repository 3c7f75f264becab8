// Inserts clouds into OctoMap's octree, as MoveIt's point cloud updater does: cells on the way to a point are free, cells
// with a marking point are occupied and never free in the same update. Clearing points have free cells only.
//
// stdin: resolution (double); for each update two counts (int32), the origin and the points (float32), marking ones first.
// stdout: after each update the counts of occupied and of free cells (int32) and their centres (float32).
#include <cstdint>
#include <cstdio>
#include <vector>

#include <octomap/OcTree.h>

template <typename T>
bool read(T* values, size_t count) {
  return fread(values, sizeof(T), count, stdin) == count;
}

int main() {
  double resolution;
  if (!read(&resolution, 1)) return 1;
  octomap::OcTree tree(resolution);
  int32_t counts[2];
  while (read(counts, 2)) {
    std::vector<float> values(3 * (1 + counts[0] + counts[1]));
    if (!read(values.data(), values.size())) return 1;
    const octomap::point3d origin(values[0], values[1], values[2]);
    octomap::KeySet occupied, free;
    octomap::KeyRay ray;
    for (int32_t i = 0; i < counts[0] + counts[1]; ++i) {
      const float* p = &values[3 * (i + 1)];
      const octomap::point3d end(p[0], p[1], p[2]);
      if (i < counts[0]) occupied.insert(tree.coordToKey(end));
      if (tree.computeRayKeys(origin, end, ray)) free.insert(ray.begin(), ray.end());
    }
    for (const auto& key : free)
      if (!occupied.count(key)) tree.updateNode(key, false);
    for (const auto& key : occupied) tree.updateNode(key, true);
    tree.expand();
    std::vector<float> centres[2];
    for (auto leaf = tree.begin_leafs(); leaf != tree.end_leafs(); ++leaf) {
      auto& list = centres[tree.isNodeOccupied(*leaf) ? 0 : 1];
      list.insert(list.end(), {float(leaf.getX()), float(leaf.getY()), float(leaf.getZ())});
    }
    const int32_t found[2] = {int32_t(centres[0].size() / 3), int32_t(centres[1].size() / 3)};
    fwrite(found, sizeof(int32_t), 2, stdout);
    for (const auto& list : centres) fwrite(list.data(), sizeof(float), list.size(), stdout);
  }
  return 0;
}
